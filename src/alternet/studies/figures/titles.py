"""Titles of the paper's figures, in its order, then of what it claims without one; and the study of one of them."""

from typing import Any

from alternet.studies.declaration import Arm, Study

TITLES = {
    "1a": "The loss around a ViT is flatter than around a ResNet",
    "1b": "The way of the weights through training (withdrawn by the authors; a diagnostic of single runs)",
    "1c": "Eigenvalues of the Hessian in the course of training: a ViT has small and negative ones",
    "2a": "Frequencies of feature maps, layer by layer: ViTs lower the high ones, CNNs raise them",
    "2b": "ViTs are fragile to low-frequency noise, CNNs to high-frequency noise",
    "3": "Three patterns of units: convolutions, attention and MLPs in turn, and both",
    "4": "Less data: a ViT has more negative eigenvalues early in training",
    "5a": "A ViT does not overfit: where the test error is larger, so is the NLL on augmented training data",
    "5b": "With less data a ViT's training NLL and test error rise together",
    "6": "Averaging all tokens in place of a class token: fewer negative eigenvalues, more accuracy",
    "7": "Locality: attention to a neighbourhood of 3 × 3, 5 × 5, or to all tokens",
    "8": "Attention lowers the amplitude of high frequencies, convolutions and MLPs raise it",
    "9": "Attention lowers the variance of feature maps, convolutions raise it",
    "10a": "Multi-stage networks have a block structure in the similarity of their units",
    "10b": "Attention at the ends of stages and convolutions at their starts matter most",
    "11": "The units of AlterNet",
    "12a": "Building up AlterNet: accuracy as units attend, from the end of the network on",
    "12b": "AlterNet is more accurate and more robust than the network that it was made of",
    "12c": "Attention in a ResNet makes the eigenvalues smaller early in training",
    "C.1a": "Overfitting on another data set (CIFAR-10): test error against the NLL on augmented training data",
    "C.1b": "Overfitting on a large data set (ImageNet): test error against the NLL on augmented training data",
    "C.2": "Longer training lowers the NLL on training data and the test error",
    "C.3": "The size of a ViT's patches",
    "C.4": "Landscapes and eigenvalues of multi-stage ViTs",
    "C.5": "More heads make the loss of a ViT more convex and flatter",
    "C.6": "Wider heads make the loss of a ViT more convex and flatter",
    "C.7": "Larger networks: landscapes and eigenvalues",
    "D.1": "The variance of feature maps in multi-stage ViTs",
    "D.2": "The high frequencies of feature maps in multi-stage ViTs",
    "D.3": "Similarity of the units of CNNs and ViTs",
    "D.4": "Lesions of the units of CNNs and ViTs",
    "D.5": "The stages of the networks that are compared",
    "E.1": "Accuracy and robustness of AlterNet among ViTs and CNNs, in the paper on ImageNet",
    "F.1": "Strong augmentation makes networks under-confident, and the loss flatter",
    "SAM": "Claimed in words: sharpness-aware training makes a ViT's loss flatter and more convex",
    "smoothing": "Claimed by Park and Kim (2021): spatial smoothing makes a ResNet's loss flatter",
    "shape": "Claimed in words: attention goes by shape",
    "static": "Claimed in words: attention that depends on the image beats attention that does not",
}


def figure(name: str, *, arms: tuple[Arm, ...], **more: Any) -> Study:
    """The study of a figure of the paper."""
    return Study(figure=name, title=TITLES[name], arms=arms, **more)
