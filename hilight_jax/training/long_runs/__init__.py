"""Operations of runs that last for weeks: clock, goodput, watchdog, preemption, profiling."""
