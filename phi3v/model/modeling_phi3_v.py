"""Phi-3-Vision model: transformers' `Phi3Model` and `CLIPVisionModel`, joined as in Microsoft's `modeling_phi3_v.py`.

Module names are those of the published model, the image tower's too, so whatever goes by name fits: checkpoints,
adapters, lists of modules to train.
"""

import torch
from torch import nn
from transformers import CLIPVisionModel, GenerationMixin, Phi3Model, Phi3PreTrainedModel
from transformers import initialization as init
from transformers.cache_utils import Cache
from transformers.conversion_mapping import register_checkpoint_conversion_mapping
from transformers.core_model_loading import WeightRenaming
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.utils import can_return_tuple, logging

from .configuration_phi3_v import PUBLISHED_EOS_TOKEN_ID, Phi3VConfig
from .image_processing_phi3_v import CROP, num_image_tokens

logger = logging.get_logger(__name__)


class Phi3VRotaryEmbedding(nn.Module):
    """Rotary embedding that picks LongRoPE's short or long factors per sequence.

    A sequence whose last position in this forward lies beyond `original_max_position_embeddings` uses the long factors
    for all its positions, as in the reference. transformers' own picks once for the whole batch, so that a short
    prompt's answer would depend on the prompts beside it.
    """

    def __init__(self, config: Phi3VConfig):
        super().__init__()
        self.config = config
        half = config.hidden_size // config.num_attention_heads // 2
        # float32 whatever the model's dtype: in bfloat16 the angles of an image prompt would be off by radians.
        self.short_inv_freq = nn.Buffer(torch.empty(half, dtype=torch.float32), persistent=False)
        self.long_inv_freq = nn.Buffer(torch.empty(half, dtype=torch.float32), persistent=False)
        self.attention_scaling = 1.0
        self.reset_frequencies()

    def reset_frequencies(self) -> None:
        """Compute the frequencies from the configuration."""
        rope, limit = self.config.rope_parameters, self.config.original_max_position_embeddings
        if rope["rope_type"] == "longrope":
            short, self.attention_scaling = ROPE_INIT_FUNCTIONS["longrope"](self.config, seq_len=1)
            long, _ = ROPE_INIT_FUNCTIONS["longrope"](self.config, seq_len=limit + 1)
        else:
            dim = 2 * len(self.short_inv_freq)
            short = long = rope["rope_theta"] ** -(torch.arange(0, dim, 2, dtype=torch.float32) / dim)
        init.copy_(self.short_inv_freq, short)
        init.copy_(self.long_inv_freq, long)

    def _apply(self, fn, recurse=True):
        super()._apply(fn, recurse)
        if self.short_inv_freq.dtype != torch.float32:  # `model.half()` converts buffers too, and rounds them
            for name in ("short_inv_freq", "long_inv_freq"):
                setattr(self, name, nn.Buffer(getattr(self, name).float(), persistent=False))
            self.reset_frequencies()
        return self

    @torch.no_grad()
    def forward(self, x: torch.Tensor, position_ids: torch.LongTensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Cosine and sine, each (batch, tokens, head size) in `x`'s dtype, of positions (batch, tokens)."""
        is_long = position_ids.amax(-1, keepdim=True) >= self.config.original_max_position_embeddings
        inv_freq = torch.where(is_long, self.long_inv_freq, self.short_inv_freq)
        angles = position_ids[..., None].float() * inv_freq[:, None, :]
        angles = torch.cat((angles, angles), dim=-1)
        return (angles.cos() * self.attention_scaling).to(x.dtype), (angles.sin() * self.attention_scaling).to(x.dtype)


class Phi3VVisionTransformer(CLIPVisionModel):
    """transformers' CLIP under a name of its own: names of CLIP's tensors are not rewritten when it is in here."""


class Phi3VImageTower(nn.Module):
    """The CLIP tower as its child `vision_model`, where it was published."""

    def __init__(self, config: Phi3VConfig):
        super().__init__()
        self.vision_model = Phi3VVisionTransformer(config.vision_config)


class Phi3VImageEmbedding(nn.Module):
    """Crops to embeddings: the CLIP tower, the 2x2 merge with separators, the projection."""

    def __init__(self, config: Phi3VConfig):
        super().__init__()
        vision_size = config.vision_config.hidden_size
        self.img_processor = Phi3VImageTower(config)
        self.layer_idx: int = config.img_processor.get("layer_idx", -2)
        merged_size = 4 * vision_size
        self.glb_GN = nn.Parameter(torch.zeros(1, 1, merged_size))
        self.sub_GN = nn.Parameter(torch.zeros(1, 1, 1, merged_size))
        self.img_projection = nn.Sequential(
            nn.Linear(merged_size, config.hidden_size),
            nn.GELU(),
            nn.Linear(config.hidden_size, config.hidden_size),
        )
        self.freeze_unused()

    @property
    def layers(self) -> nn.ModuleList:
        """The tower's layers that are run."""
        vision_model = self.img_processor.vision_model
        count = self.layer_idx if self.layer_idx >= 0 else vision_model.config.num_hidden_layers + 1 + self.layer_idx
        return vision_model.encoder.layers[:count]

    def freeze_unused(self) -> None:
        """Have no gradients for what the checkpoint holds and nobody runs: data-parallel training waits for all."""
        vision_model, layers = self.img_processor.vision_model, self.layers
        for unused in (vision_model.encoder.layers[len(layers) :], vision_model.post_layernorm):
            unused.requires_grad_(False)

    def encode(self, crops: torch.Tensor) -> torch.Tensor:
        """(crops, 3, 336, 336) to patch features (crops, 576, vision size).

        Those of the layer that `layer_idx` says, CLIP's last but one in the published models, without the class token
        and without the final norm.
        """
        tower = self.img_processor.vision_model
        hidden_states = tower.pre_layrnorm(tower.embeddings(crops))
        for layer in self.layers:
            hidden_states = layer(hidden_states, None)
        return hidden_states[:, 1:]

    def arrange(self, features: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
        """One image's patch features, (1 + rows * columns, 576, size), as its sequence of merged vectors.

        The crops' rows of patches, `glb_GN`, the global view's, `sub_GN` at the end of every row.
        """
        sub_image = self._merge(features[1:], rows, columns)
        global_view = self._merge(features[:1], 1, 1)
        return torch.cat([sub_image, self.glb_GN[0], global_view])

    def _merge(self, features: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
        """Crops in reading order to (patch rows * (patch columns + 1), 4 * size).

        Channel c of the patch at (dy, dx) in its square of four comes to (dy * 2 + dx) * size + c.
        """
        size = features.shape[-1]
        side = int(features.shape[1] ** 0.5) // 2
        grid = features.view(rows, columns, side, 2, side, 2, size).permute(0, 2, 1, 4, 3, 5, 6)
        grid = grid.reshape(rows * side, columns * side, 4 * size)
        row_ends = self.sub_GN[0].expand(rows * side, 1, -1)
        return torch.cat([grid, row_ends], dim=1).flatten(0, 1)

    def forward(self, pixel_values: torch.Tensor, image_sizes: torch.Tensor) -> torch.Tensor:
        """Embeddings (image positions of all images, hidden size).

        Args:
            pixel_values: (images, crops, 3, 336, 336), the global view first; crops beyond an image's own are padding
                and are not encoded.
            image_sizes: (images, 2), height and width in pixels, multiples of 336.
        """
        grids = [(height // CROP, width // CROP) for height, width in image_sizes.tolist()]
        lengths = [1 + rows * columns for rows, columns in grids]
        dtype = self.glb_GN.dtype
        crops = torch.cat([image[:length].to(dtype) for image, length in zip(pixel_values, lengths, strict=True)])
        features = self.encode(crops).split(lengths)
        merged = [self.arrange(image, *grid) for image, grid in zip(features, grids, strict=True)]
        return self.img_projection(torch.cat(merged))


class AlsoRead(WeightRenaming):
    """A name under which a tensor is found too. It is written under the published one."""

    def rename_source_key(self, source_key: str) -> tuple[str, str | None]:
        """As of the base class, as often as it matches: modules in modules may be wrapped, and more than once."""
        name, pattern = super().rename_source_key(source_key)
        return (name, pattern) if name == source_key else (self.rename_source_key(name)[0], pattern)

    def reverse_transform(self) -> WeightRenaming:
        return WeightRenaming("(?!)", "")  # matches nothing


ALSO_READ = [
    # What trainers put around modules, and save with them.
    AlsoRead(r"^(?:base_model\.model|module|_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.", ""),
    AlsoRead(r"\.(?:base_layer|_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.", "."),
    # transformers 5 writes the tower so, where it is a `CLIPVisionModel` that was not loaded from a checkpoint.
    AlsoRead(
        r"\bimg_processor\.(?=(?:embeddings|encoder|pre_layrnorm|post_layernorm)\.)", "img_processor.vision_model."
    ),
]
register_checkpoint_conversion_mapping(Phi3VConfig.model_type, ALSO_READ, overwrite=True)


def published_name(name: str) -> str:
    """A tensor's name in the published checkpoint, from one that trainers give it."""
    for other in ALSO_READ:
        name, _ = other.rename_source_key(name)
    return name


class Phi3VPreTrainedModel(Phi3PreTrainedModel):
    config: Phi3VConfig
    input_modalities = ("image", "text")
    _no_split_modules = ["Phi3DecoderLayer", "Phi3VImageEmbedding"]
    # A second name of `model.embed_tokens.weight` in some conversions of the checkpoint, and what is computed here.
    _keys_to_ignore_on_load_unexpected = [
        r"vision_embed_tokens\.wte\.weight",
        r"rotary_emb\.inv_freq",
        r"\.position_ids$",
    ]

    @classmethod
    def from_pretrained(cls, *args, **kwargs):
        """As everywhere, with parameters that are never used frozen: see `Phi3VImageEmbedding.freeze_unused`."""
        loaded = super().from_pretrained(*args, **kwargs)
        for module in (loaded[0] if isinstance(loaded, tuple) else loaded).modules():
            if isinstance(module, Phi3VImageEmbedding):
                module.freeze_unused()
        return loaded

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, Phi3VRotaryEmbedding):
            module.reset_frequencies()
        elif isinstance(module, Phi3VImageEmbedding):
            init.zeros_(module.glb_GN)
            init.zeros_(module.sub_GN)
        else:
            super()._init_weights(module)


class Phi3VModel(Phi3VPreTrainedModel, Phi3Model):
    """`Phi3Model` whose embeddings at image positions come from images."""

    def __init__(self, config: Phi3VConfig):
        super().__init__(config)
        self.rotary_emb = Phi3VRotaryEmbedding(config)
        self.vision_embed_tokens = Phi3VImageEmbedding(config)
        # Some recipes for training delete what isn't run, and save the rest.
        numbers = range(len(self.vision_embed_tokens.layers), config.vision_config.num_hidden_layers)
        unused = "|".join(["post_layernorm", *(rf"encoder\.layers\.{number}" for number in numbers)])
        self._keys_to_ignore_on_load_missing = {rf"img_processor\.vision_model\.(?:{unused})\."}
        self.post_init()

    def get_image_features(self, pixel_values: torch.Tensor, image_sizes: torch.Tensor) -> torch.Tensor:
        """Embeddings (image positions of all images, hidden size); see `Phi3VImageEmbedding.forward`."""
        return self.vision_embed_tokens(pixel_values, image_sizes)

    def embed(
        self,
        input_ids: torch.LongTensor | None,
        pixel_values: torch.Tensor | None = None,
        image_sizes: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Input embeddings (batch, tokens, hidden size), image positions filled in the order of the images.

        Of `inputs_embeds`, where there are no ids, those are filled that are the embedding of `image_token_id`.

        Raises:
            ValueError: the image positions are not as many as the images' embeddings; without images, not one of
                `input_ids` and `inputs_embeds` is given.
        """
        if pixel_values is None:
            if (input_ids is None) == (inputs_embeds is None):
                raise ValueError("You must specify exactly one of input_ids or inputs_embeds")  # as `Phi3Model` does
            return self.embed_tokens(input_ids) if inputs_embeds is None else inputs_embeds
        if image_sizes is None:
            raise ValueError("`pixel_values` came without `image_sizes`. Pass all that the processor returns.")
        image_token_id = self.config.image_token_id
        if input_ids is not None:
            positions = input_ids == image_token_id
        else:
            image_token = self.embed_tokens(torch.tensor(image_token_id, device=inputs_embeds.device))
            positions = (inputs_embeds == image_token).all(-1)
        if inputs_embeds is None:
            inputs_embeds = self.embed_tokens(input_ids)
        wanted = sum(num_image_tokens(*size) for size in image_sizes.tolist())
        if positions.sum() != wanted:  # asked before the images are encoded: a GPU would have to end that first
            name = "inputs_embeds" if input_ids is None else "input_ids"
            raise ValueError(f"{int(positions.sum())} image positions in `{name}`; `image_sizes` asks for {wanted}.")
        image_embeds = self.get_image_features(pixel_values, image_sizes).to(inputs_embeds)
        return inputs_embeds.masked_scatter(positions[..., None], image_embeds)

    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        pixel_values: torch.Tensor | None = None,
        image_sizes: torch.LongTensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.LongTensor | None = None,
        past_key_values: Cache | None = None,
        **kwargs,
    ) -> BaseModelOutputWithPast:
        """As `Phi3Model.forward`, and `pixel_values`, `image_sizes` as from the processor.

        By default positions are counted where `attention_mask` is not 0: what is padded is rotated as it is alone.
        """
        inputs_embeds = self.embed(input_ids, pixel_values, image_sizes, inputs_embeds)
        if position_ids is None and isinstance(attention_mask, torch.Tensor) and attention_mask.ndim == 2:
            tokens = inputs_embeds.shape[1]
            length = tokens + (0 if past_key_values is None else past_key_values.get_seq_length())
            if attention_mask.shape[1] == length:
                position_ids = (attention_mask.cumsum(-1)[:, -tokens:] - 1).clamp(min=0)
        return super().forward(
            inputs_embeds=inputs_embeds,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            **kwargs,
        )


class Phi3VForCausalLM(Phi3VPreTrainedModel, GenerationMixin):
    """Phi-3-Vision with its language model head."""

    _tied_weights_keys = {"lm_head.weight": "model.embed_tokens.weight"}
    _tp_plan = {"lm_head": "colwise_gather_output"}

    def __init__(self, config: Phi3VConfig):
        super().__init__(config)
        self.model = Phi3VModel(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    @classmethod
    def from_pretrained(cls, *args, **kwargs):
        """As everywhere. A checkpoint without `generation_config.json` stops at the chat's end tokens.

        transformers would take `eos_token_id` from the raw `config.json`, where the published one names `</s>`. And it
        would not tie the head to the embeddings, where `tie_word_embeddings` asks for that, if the checkpoint has a
        head of its own; the releases that the reference was written for do.
        """
        loaded = super().from_pretrained(*args, **kwargs)
        model = loaded[0] if isinstance(loaded, tuple) else loaded
        if model.config.tie_word_embeddings and model.lm_head.weight is not model.model.embed_tokens.weight:
            logger.warning("The checkpoint's `lm_head` is not used: its configuration ties it to the embeddings.")
            model.all_tied_weights_keys = model.get_expanded_tied_weights_keys(all_submodels=True)
            model.tie_weights(recompute_mapping=False)
        if model.generation_config.eos_token_id == PUBLISHED_EOS_TOKEN_ID:
            model.generation_config.eos_token_id = model.config.eos_token_id
        if model.generation_config.pad_token_id is None:
            model.generation_config.pad_token_id = model.config.pad_token_id
        return loaded

    def get_image_features(self, pixel_values: torch.Tensor, image_sizes: torch.Tensor) -> torch.Tensor:
        """Embeddings (image positions of all images, hidden size); see `Phi3VImageEmbedding.forward`."""
        return self.model.get_image_features(pixel_values, image_sizes)

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        pixel_values: torch.Tensor | None = None,
        image_sizes: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.LongTensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: torch.Tensor | None = None,
        labels: torch.LongTensor | None = None,
        logits_to_keep: int | torch.Tensor = 0,
        num_logits_to_keep: int | None = None,
        **kwargs,
    ) -> CausalLMOutputWithPast:
        """As `Phi3ForCausalLM.forward`, and images.

        Args:
            input_ids: (batch, tokens), `config.image_token_id` at image positions.
            pixel_values: (images of the whole batch, crops, 3, 336, 336).
            image_sizes: (images, 2), height and width in pixels, multiples of 336.
            labels: (batch, tokens), -100 where no loss is wanted.
            logits_to_keep: how many positions from the end get logits; 0 for all.
            num_logits_to_keep: its name in older releases of transformers, which scripts still pass.

        Returns:
            `logits` (batch, tokens kept, vocabulary), `loss` with `labels`, `past_key_values`.
        """
        # Named one by one in the signature because `generate` looks there for what it may pass.
        outputs = self.model(
            input_ids=input_ids,
            pixel_values=pixel_values,
            image_sizes=image_sizes,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            **kwargs,
        )
        logits_to_keep = logits_to_keep if num_logits_to_keep is None else num_logits_to_keep
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.lm_head(outputs.last_hidden_state[:, kept])
        loss = None
        if labels is not None:
            loss = self.loss_function(logits=logits, labels=labels, vocab_size=self.config.vocab_size, **kwargs)
        return CausalLMOutputWithPast(
            loss=loss,
            logits=logits,
            past_key_values=outputs.past_key_values,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )

    def prepare_inputs_for_generation(
        self,
        input_ids: torch.LongTensor,
        past_key_values: Cache | None = None,
        attention_mask: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        is_first_iteration: bool = False,
        **kwargs,
    ) -> dict:
        """As everywhere, but a sequence that passes 4096 positions gets its cache computed anew.

        Its cached keys were rotated with the short factors and the long ones apply from here on, to all positions. The
        reference goes on with the mixture; transformers' Phi3 recomputes, as here, for text alone.
        """
        if past_key_values is not None and self._crosses_to_long_rope(input_ids, attention_mask, past_key_values):
            past_key_values.reset()
            kwargs["next_sequence_length"] = None
            is_first_iteration = True  # the images are needed once more
        inputs = super().prepare_inputs_for_generation(
            input_ids,
            past_key_values=past_key_values,
            attention_mask=attention_mask,
            inputs_embeds=inputs_embeds,
            is_first_iteration=is_first_iteration,
            **kwargs,
        )
        ids = inputs.get("input_ids")  # none where the prompt's embeddings are read
        goes_on = ids is not None and (inputs_embeds is not None or ids.shape[1] < input_ids.shape[1])
        if goes_on and inputs.get("pixel_values") is not None:
            self._leave_out_cached_images(inputs)
        return inputs

    def _leave_out_cached_images(self, inputs: dict) -> None:
        """Where a sequence goes on from a cache, keep the images that its remaining ids have positions for.

        Those are the last ones: a cache ends between images.
        """
        positions = int((inputs["input_ids"] == self.config.image_token_id).sum())
        first = len(inputs["image_sizes"])
        while positions > 0:
            first -= 1
            positions -= num_image_tokens(*inputs["image_sizes"][first].tolist())
        for name in ("pixel_values", "image_sizes"):
            inputs[name] = inputs[name][first:] if first < len(inputs[name]) else None

    def _crosses_to_long_rope(self, input_ids, attention_mask, past_key_values) -> bool:
        limit, total = self.config.original_max_position_embeddings, input_ids.shape[1]
        if total <= limit or self.config.rope_parameters["rope_type"] != "longrope":
            return False
        cached = int(past_key_values.get_seq_length())  # waits for the GPU where the cache is static: asked for last
        if cached == 0:
            return False
        lengths = input_ids.new_full((1,), total) if attention_mask is None else attention_mask.sum(-1)
        return bool(((lengths > limit) & (lengths - (total - cached) <= limit)).any())

    def _expand_inputs_for_generation(self, expand_size=1, is_encoder_decoder=False, input_ids=None, **model_kwargs):
        """Beams and several sequences a prompt: each prompt's images are repeated together, not one by one."""
        images = {name: model_kwargs.pop(name, None) for name in ("pixel_values", "image_sizes")}
        images = {name: value for name, value in images.items() if value is not None}
        if expand_size > 1 and images:
            counts = self._images_per_prompt(input_ids, images["image_sizes"])
            images = {
                name: torch.cat([group.repeat(expand_size, *[1] * (value.ndim - 1)) for group in value.split(counts)])
                for name, value in images.items()
            }
        input_ids, model_kwargs = super()._expand_inputs_for_generation(
            expand_size, is_encoder_decoder, input_ids, **model_kwargs
        )
        return input_ids, model_kwargs | images

    def _images_per_prompt(self, input_ids: torch.LongTensor, image_sizes: torch.LongTensor) -> list[int]:
        """How many of the images belong to each prompt, from the image positions that each one has."""
        lengths = iter([num_image_tokens(*size) for size in image_sizes.tolist()])
        counts = []
        for positions in (input_ids == self.config.image_token_id).sum(-1).tolist():
            counts.append(0)
            while positions > 0:
                positions -= next(lengths)
                counts[-1] += 1
        return counts


__all__ = ["Phi3VForCausalLM", "Phi3VModel", "Phi3VPreTrainedModel"]
