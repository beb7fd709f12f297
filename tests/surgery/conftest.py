from tests.torchvision_operators import declare_torchvision_operators

declare_torchvision_operators()  # before any library imports torchvision
