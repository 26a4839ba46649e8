"""Methods that train an image tower by images alone. One file each, on the parts of lightly.

| method   | what is learned                                                               | towers |
| -------- | ----------------------------------------------------------------------------- | ------ |
| rotation | by how many quarters an image was turned                                      | all    |
| simclr   | two views of an image are more alike than views of others in the batch        | all    |
| mocov2   | the same against a queue of earlier views, which a slow copy encodes          | all    |
| mocov3   | the same against the batch, both ways, with a predictor                       | all    |
| dino     | to say of one view what a slow copy says of another                           | all    |
| mae      | the pixels of patches that were left out                                      | ViT    |

Nothing is imported here, so that the names can be listed at once.
"""
