"""Operations of runs that last for weeks: goodput, watchdog, preemption, profiling."""
