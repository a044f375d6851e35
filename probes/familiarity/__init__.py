"""How well does what a model has read know this input? Code lengths, exact counts in a corpus, distances to states."""

from probes.corpus.alphabet import Bytes as Bytes
from probes.corpus.alphabet import Tokens as Tokens
from probes.corpus.corpora import build_index as build_index
from probes.corpus.corpora import open_index as open_index
from probes.corpus.corpora import read_corpus as read_corpus
from probes.corpus.corpora import read_dataset as read_dataset
from probes.corpus.matching import highlight as highlight
from probes.familiarity.compressors import Compressor as Compressor
from probes.familiarity.definitions import FAMILIARITY as FAMILIARITY
from probes.familiarity.definitions import FamiliaritySpec as FamiliaritySpec
from probes.familiarity.definitions import parse_familiarity as parse_familiarity
from probes.familiarity.known_states import remember as remember
from probes.familiarity.measure import measure_familiarity as measure_familiarity
from probes.familiarity.membership import judge_membership as judge_membership
from probes.familiarity.ngrams import NGram as NGram
from probes.familiarity.predictor import Mixture as Mixture
from probes.familiarity.predictor import Prediction as Prediction
from probes.familiarity.predictor import Predictor as Predictor
from probes.familiarity.predictor import Uniform as Uniform
from probes.familiarity.predictor import bits_per_byte as bits_per_byte
from probes.familiarity.sources import Sources as Sources
from probes.familiarity.texts import CausalLM as CausalLM

FAMILIARITY.load("probes.familiarity.measures")
