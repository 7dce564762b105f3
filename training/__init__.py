"""The one training loop, for every task: its compiled step, devices, memory, optimizer and logs."""
