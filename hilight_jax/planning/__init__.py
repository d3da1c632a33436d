"""Plans runs on TPU pods: memory, FLOPs and traffic of a step, from the TPU compiler, on a machine without TPUs."""
