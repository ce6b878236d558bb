"""A penalty of profiles as a function of PyTorch tensors; PyTorch is loaded when it is first asked for."""

__all__ = ["device_sweep"]


def device_sweep(terms, device):
    """Value and gradient of a penalty of profiles for predictions on a device.

    Parameters
    ----------
    terms : object
        What the penalty is made of, see :class:`fairdcov.penalties.ProfileTerms`; arrays or tensors.
    device : torch.device
        Where the predictions will be.

    Returns
    -------
    fairdcov.dependence._torch_device.DeviceDependence
        With ``value_gradient(u)``.
    """
    from fairdcov.dependence._torch_device import DeviceDependence

    return DeviceDependence(terms, device)
