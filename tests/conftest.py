import os

import torch

torch.set_num_threads(1)  # on a busy machine the threads of small operations wait for each other
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # before the kernel is imported, here and in Ray's workers
