"""The sections of a report: what stands first, the answers, what a skeptic must know, models, sinks, single items."""
