"""What commands say of runs and jobs, held against each other."""
