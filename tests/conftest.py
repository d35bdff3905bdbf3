import torch

torch.set_num_threads(1)  # on a busy machine the threads of small operations wait for each other
