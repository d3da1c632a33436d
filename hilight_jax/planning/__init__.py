"""What a training step needs of a TPU pod, from the TPU compiler itself, on a machine without TPUs."""
