"""How weights are moved: optimizers, learning rates, how many steps, what freezes."""
