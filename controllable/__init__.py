"""Controls: what is asked of a sample beyond the model's law, with any solver and process.

A control is one of three arguments of `sampling.sample`, never a sampling loop:

    guidance     Predictor -> Predictor; shifts x_0 and eps together
    constraint   (x, node, noise) -> x; after every step and after the final denoising
    start        (x, node); a state to begin from in place of the prior

`resampling.Resampled` is a solver made of another one.
"""
