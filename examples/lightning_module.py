"""A LightningModule whose network has a NeRD head. Checkpoints, precision and devices are Lightning's, as ever."""

import pytorch_lightning as lightning
import torch
from monai.losses import DiceCELoss
from monai.networks.nets import BasicUNet
from torch.utils.data import DataLoader, TensorDataset

import nerd_fast


class Segmenter(lightning.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        network = BasicUNet(spatial_dims=2, in_channels=1, out_channels=1, features=(8, 8, 16, 16, 32, 8))
        self.network = nerd_fast.replace_head(network, nerd_fast.NeRDc)
        self.loss = DiceCELoss(sigmoid=True)

    def training_step(self, batch, index):
        images, labels = batch
        loss = self.loss(self.network(images), labels)
        self.log("loss", loss, prog_bar=True)
        return loss

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-3)


if __name__ == "__main__":
    lightning.seed_everything(0)
    images = torch.randn(8, 1, 32, 32)
    data = DataLoader(TensorDataset(images, (images > 0.5).float()), batch_size=4, shuffle=True)
    trainer = lightning.Trainer(max_epochs=2, logger=False, enable_checkpointing=False, enable_progress_bar=False)
    trainer.fit(Segmenter(), data)
    print(f"loss {trainer.callback_metrics['loss'].item():.3f}")
