"""What a training run trains: image models and classifiers of noisy images."""
