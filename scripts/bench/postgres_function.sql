SELECT next_number('site-1', 'partition-a', 'on-cycle', 'bench');
