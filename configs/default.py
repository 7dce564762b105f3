"""The fields that every configuration has, and what they mean.

A configuration file calls `get_default_config()` and changes what differs. The command line changes
any field of it: `--config.training.batch_size=64`. A field that does not exist is an error that
names the nearest one. `builders.py` turns a configuration into objects; nothing else reads one.
"""

from ml_collections import ConfigDict


def get_default_config() -> ConfigDict:
    config = ConfigDict()
    config.seed = 42
    config.task = "image"  # builders.TASKS; or "classifier", of noisy images

    # The noising process, sde_lib.PROCESSES. A process takes the fields it has and leaves the rest.
    config.process = ConfigDict(
        {
            "name": "ve",
            "sigma_min": 0.01,
            "sigma_max": 50.0,
            "beta_min": 0.1,
            "beta_max": 20.0,
            "num_steps": 1000,  # levels of the discrete schedules
            "t_min": 1e-5,  # earliest time of training and likelihood
        }
    )

    # What the network predicts and is told: parameterization.Parameterization.
    config.parameterization = ConfigDict(
        {
            "output": "scaled_score",
            "c_noise": "log_sigma",
            "time_scale": 999.0,
            "centre_input": False,
            "sigma_data": 0.5,
            "learned_variance": False,  # twice the channels, for sampling.variance = "learned"
        }
    )

    # The network: `name` of models.MODELS, or models.CLASSIFIERS; the rest are its own fields.
    config.model = ConfigDict({"name": "ncsnpp"})

    config.loss = ConfigDict(
        {
            "weighting": "noise",  # losses.WEIGHTINGS
            "reduction": "half_sum",  # losses.REDUCTIONS
            "label_dropout": 0.0,  # rate at which a class label is hidden
            "label_smoothing": 0.0,  # of a classifier's cross-entropy
            "times": "uniform",  # losses.TIMES: how noise levels are drawn
            "time_mean": -1.2,  # of log(sigma / alpha), "lognormal"; of logit t, "logit_normal"
            "time_std": 1.2,
            "coupling": "independent",  # losses.COUPLINGS: of noise with the images of a microbatch
            "vlb_weight": 1e-3,  # of the bound that trains learned variances, see
            "vlb_steps": 1000,  # losses.VariationalBound
        }
    )

    config.data = ConfigDict(
        {
            "name": "digits",  # data.SOURCES
            "path": "",  # of a folder of images or a prepared TFDS data set
            "train_split": "train",
            "eval_split": "test",
            "image_size": 28,
            "num_channels": 1,
            "centered": False,  # data in [-1, 1] instead of [0, 1]
            "crop": "center",
            "resize": "bicubic",  # or "box", means over squares: data.transforms.FILTERS
            "random_flip": False,
            "dequantize": False,
            "augment": 0.0,  # probability of EDM's non-leaking augmentation
            "num_classes": 0,  # classes that the model is told; 0: unconditional
            "low_size": 0,  # of the picture that an upsampler enlarges; 0: an ordinary model
            "low_level": 1.0,  # the most noise that it has in training, in (0, 1]
        }
    )

    config.optim = ConfigDict(
        {
            "lr": 2e-4,
            "b1": 0.9,
            "b2": 0.999,
            "eps": 1e-8,
            "warmup": 5000,
            "grad_clip": 1.0,
            "weight_decay": 0.0,
            "decay": "none",
        }
    )
    config.ema = ConfigDict({"decay": 0.999, "warmup": False})

    config.training = ConfigDict(
        {
            "steps": 1_300_001,
            "batch_size": 128,  # over all devices of all hosts
            "microbatch": "auto",  # examples a device differentiates at once, or a number as text
            "device_memory": 0,  # bytes that "auto" may use; 0 asks the device
            "strategy": "shard_map",  # or "pmap", "fsdp"
            "n_jitted_steps": 1,
            "log_every": 50,
            "checkpoint_every": 10_000,
            "draw_every": 10_000,
            "keep": 2,
            "keep_every": 50_000,
            "max_seconds": 0.0,
            "init_from": "",
        }
    )

    config.sampling = ConfigDict(
        {
            "solver": "pc",  # solvers.SOLVERS; each takes the fields below that it has
            "num_steps": 1000,
            "grid": "uniform",  # solvers.grids.GRIDS; "published" goes with the faithful choices
            "t_start": 0.0,  # 0: the process's t_max
            "t_end": 1e-5,
            "end_clean": False,  # the last step goes on from t_end to sigma = 0
            "denoise": "tweedie",  # or "mean", "none"
            "low_level": 0.1,  # of the noise on what an upsampler enlarges, in [0, data.low_level]
            # pc
            "predictor": "reverse_diffusion",
            "corrector": "langevin",
            "corrector_steps": 1,
            "snr": 0.16,
            "faithful": False,  # the published discretisation and batch-mean norms
            "probability_flow": False,
            "variance": "small",  # of the ancestral predictor; or "large", "learned"
            # ddim; dpm; stochastic_heun
            "eta": 0.0,
            "order": 2,
            "noise": False,
            "churn": 40.0,
            "s_min": 0.0,
            "s_max": float("inf"),
            "s_noise": 1.0,
            # ode and adaptive_sde: steps of their own from t_start to t_end
            "method": "dopri5",  # of ode; or "bosh3", "tsit5"
            "rtol": 0.0,  # 0: the solver's own
            "atol": 0.0,
            "max_steps": 2000,
            # picard
            "inner": "ddim",  # the solver that is run in parallel
            "window": 16,
            "tolerance": 1e-3,
            "num_samples": 64,
            "labels": "",  # classes to sample, as in "3,3,7"; empty: all in turn
            "batch_size": 64,
            "seed": 0,
        }
    )

    # Guidance towards the class, of all that is sampled: controllable.strategies.Strategy.
    config.guidance = ConfigDict(
        {
            "strategy": "none",  # or "free", "amplified", "linear", "truncated", "automatic"
            "scale": 2.0,  # of "free": 1 is the conditional model, 0 the unconditional one
            "last_scale": 1.0,  # what "linear" falls to
            "low": 0.0,  # the zone of "free" and "truncated", in sigma / alpha
            "high": float("inf"),
            "s_max_classifier": float("inf"),  # the most noise that "truncated" tells
            "classifier": "",  # weights or workdir of a classifier, for all but "free"
            "images": 512,  # of the evaluation split, on which "automatic" measures
        }
    )

    # --mode control: controls.ControlOptions, with the solver and the grid of `sampling`.
    config.control = ConfigDict(
        {
            "task": "inpaint",  # controls.TASKS
            "image": "",  # a picture of the model's size; empty: the evaluation split's
            "images": 4,
            "labels": "",  # their classes, as in "3,3,7"; empty: the data set's own
            "results": 4,  # for each image
            "mask": "box",  # inpaint: masks.MASKS, or a picture, white where known
            "repeats": 1,  # of each step, RePaint's resampling
            "operator": "downsampling",  # restore: controls.OPERATORS
            "method": "pigdm",  # restore; or "dps"
            "sigma_y": 0.05,  # restore: noise of the measurement, in units of [0, 1]
            "strength": 5.0,  # restore by dps
            "t": 0.5,  # edit: the time to noise the image to
            "seed": 0,
        }
    )

    config.eval = ConfigDict(
        {
            "checkpoints": "latest",  # "latest", "all" or step numbers: "1000,2000"
            "batch_size": 128,
            "loss": True,
            "likelihood": True,
            "samples": True,  # FID, KID and, for digits, legibility
            "num_samples": 1000,
            "max_images": 0,  # of the evaluation split; 0 for all
            "likelihood_images": 0,  # how many of them get bits/dim; 0 for all
            "extractor": "digits",  # metrics/extractors.py
            "weights": "",  # of the extractor, if they do not come with the project
            "memorisation": True,  # compare the samples with every training image
            "levels": 20,  # noise levels at which a classifier is judged
            "probe": "rademacher",
            "num_probes": 1,
            "dequantization_draws": 1,  # several tighten the bound, with num_probes of 2 or more
            "rtol": 1e-5,
            "atol": 1e-5,
        }
    )
    return config
