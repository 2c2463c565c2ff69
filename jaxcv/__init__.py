"""JAX/Flax for computer vision, from LeNet to Stable Diffusion, as pure functions."""
