"""Hugging Face SegFormer with a NeRD head for its classifier.

`SegformerForSemanticSegmentation.from_pretrained(...)` in place of the small random network below changes nothing else.
"""

import torch
from transformers import SegformerConfig, SegformerForSemanticSegmentation

import nerd_fast

config = SegformerConfig(
    num_labels=3,
    depths=[1, 1, 1, 1],
    hidden_sizes=[8, 16, 24, 32],
    decoder_hidden_size=32,
    num_attention_heads=[1, 1, 2, 2],
)
network = SegformerForSemanticSegmentation(config)
nerd_fast.replace_head(network, nerd_fast.NeRDm)

images, labels = torch.randn(2, 3, 64, 64), torch.randint(3, (2, 64, 64))
optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
for step in range(3):
    loss = network(pixel_values=images, labels=labels).loss
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(f"step {step + 1}: loss {loss.item():.3f}")
