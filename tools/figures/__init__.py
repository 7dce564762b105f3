"""Figures and tables of papers, each a small class that composes the library."""
