"""What cards of several families share: constants of published preprocessing, and a text tower's tokenizer."""

from evaluator.models.card import TokenizerFile

CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))

BIO_CLINICAL_BERT = TokenizerFile("vocab.txt", "emilyalsentzer/Bio_ClinicalBERT")
