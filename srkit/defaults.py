"""The components meant where the user names none: the one place where the core names any."""

MODEL = "edsr-baseline"  # trained; what upscales is chosen in srkit.weights.offered
DATASET = "samples"  # trained on, validated on, and scored where no test set is installed
FOLDER = "folder"  # the dataset that the path of a folder stands for
LOSSES = ("l1",)
AUGMENTATIONS = ("dihedral",)
METRICS = ("psnr", "ssim")  # of tables; the first one chooses the best checkpoint
FLOOR = "bicubic"  # the model that a gallery compares with
ENSEMBLE = "self-ensemble"  # the wrapper of --self-ensemble
TAG_OF_TABLES = "bicubic"  # of weights for clean pictures that bicubic made small: what a model's name alone means
TAG_OF_PHOTOS = "photo"  # of weights for compressed, slightly blurred pictures: what upscales where no model is named
