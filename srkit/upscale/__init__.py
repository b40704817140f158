"""From a network to an upscaler of whole pictures: padding, tiles, wrappers."""
