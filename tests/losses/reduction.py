"""torch's reductions: ours are the callers', who know the weights."""


def reduced(values, reduction, weight=None):
    """Values of a loss as torch returns them; `weight` is that of each in the mean."""
    return {
        "none": lambda: values,
        "sum": lambda: values.sum(),
        "mean": lambda: values.mean() if weight is None else values.sum() / weight.sum(),
        "batchmean": lambda: values.sum() / len(values),
    }[reduction]()
