"""Controls: what is asked of samples beyond the model's distribution, for any solver and process.

A control is one of three arguments of `sampling.sample`, never a sampling loop:

    guidance     Predictor -> Predictor; shifts x_0 and eps together
                 classifier_free, classifier_guidance, automatic/, inverse_problems
    constraint   (x, node, noise) -> x; after every step and after the final denoising
                 replacement
    start        (x, node); a state to begin from in place of the prior
                 sdedit

`strategies` has guidance towards a class by name, `schedules` its strength by noise level, `masks`
what a constraint leaves free. `resampling.Resampled` is a solver made of another one, and
`super_resolution.cascade` a chain of sampling runs, each enlarging what the one before made.
"""
