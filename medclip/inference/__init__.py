"""From a trained model to answers: embeddings, prompts, scores, heatmaps, indices, exports."""
