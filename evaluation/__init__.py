"""Evaluation of trained models: one module for each kind of task."""
