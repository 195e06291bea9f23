"""The Coral Edge TPU backend: full-int8 TensorFlow Lite models, their exact meaning, what the Edge TPU takes."""
