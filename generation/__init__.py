"""Drawing from a trained model in batches: samples, guided samples, controlled samples."""
