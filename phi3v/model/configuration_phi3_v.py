"""Phi-3-Vision configuration: Phi-3's own, flat as published, with the image tower beside it."""

from transformers import CLIPVisionConfig, Phi3Config

# The published `img_processor` only names openai/clip-vit-large-patch14-336; the reference hard-codes its sizes.
CLIP_VIT_LARGE_PATCH14_336 = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "projection_dim": 768,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "num_channels": 3,
    "image_size": 336,
    "patch_size": 14,
    "hidden_act": "quick_gelu",
    "layer_norm_eps": 1e-5,
}

PUBLISHED_EOS_TOKEN_ID = 2
CHAT_EOS_TOKEN_IDS = [32007, 32000]  # <|end|>, <|endoftext|>


class Phi3VConfig(Phi3Config):
    """Configuration of a `Phi3VForCausalLM`.

    The published `config.json` (microsoft/Phi-3-vision-128k-instruct, microsoft/Phi-3.5-vision-instruct) is read and
    written as it is: the text model's keys at the top level, as in [`Phi3Config`], and

    Args:
        img_processor (`dict`): the image tower. `vision_config` in it gives the sizes of another CLIP vision
            transformer than ViT-L/14-336, `layer_idx` whose features are taken (-2, the last layer but one).
        embd_layer (`dict`): how image features become embeddings. The one layout that was published is supported:
            HD transform, learnable separators, sub-image before global view, MLP projection.
        image_token_id (`int`, defaults to 32044): the token `<|image|>`, which marks image positions in `input_ids`.

    Raises:
        ValueError: `img_processor` or `embd_layer` ask for a layout that this model does not have.
    """

    model_type = "phi3_v"
    sub_configs_defaults = {"vision_config": CLIPVisionConfig}

    vision_config: dict | CLIPVisionConfig | None = None
    img_processor: dict | None = None
    embd_layer: dict | None = None
    image_token_id: int = 32044

    def __post_init__(self, **kwargs):
        # The published file asks for flash_attention_2, which would fail wherever it is not installed, and for the
        # remote code that this class replaces.
        kwargs.pop("_attn_implementation", None)
        kwargs.pop("auto_map", None)
        # The published file names </s>, which the chat model never writes: its answers end with <|end|>.
        if self.eos_token_id == PUBLISHED_EOS_TOKEN_ID:
            self.eos_token_id = CHAT_EOS_TOKEN_IDS
        # A window as long as the context hides nothing; without it every layer gets a plain KV cache.
        if self.sliding_window is not None and self.sliding_window >= self.max_position_embeddings:
            self.sliding_window = None

        self.img_processor = dict(self.img_processor or {"name": "clip_vision_model"})
        self.embd_layer = dict(self.embd_layer or {})
        if self.vision_config is None:
            self.vision_config = self.img_processor.get("vision_config") or CLIP_VIT_LARGE_PATCH14_336
        super().__post_init__(**kwargs)
        self._check_layout()

    def _check_layout(self) -> None:
        wanted = {
            "img_processor.name": (self.img_processor.get("name"), "clip_vision_model"),
            "img_processor.type_feature": (self.img_processor.get("type_feature", "patch"), "patch"),
            "embd_layer.use_hd_transform": (self.embd_layer.get("use_hd_transform", True), True),
            "embd_layer.with_learnable_separator": (self.embd_layer.get("with_learnable_separator", True), True),
            "embd_layer.hd_transform_order": (self.embd_layer.get("hd_transform_order", "sub_glb"), "sub_glb"),
            "embd_layer.projection_cls": (self.embd_layer.get("projection_cls", "mlp"), "mlp"),
        }
        for key, (given, supported) in wanted.items():
            if given != supported:
                raise ValueError(f"`{key}` is {given!r}; this model supports {supported!r}.")
        layer, layers = self.img_processor.get("layer_idx", -2), self.vision_config.num_hidden_layers
        if not isinstance(layer, int) or not -layers - 1 <= layer <= layers:
            raise ValueError(f"`img_processor.layer_idx` is {layer!r}; the image tower has {layers} layers.")

    def to_dict(self) -> dict:
        """The published layout, where other readers of the format (vLLM) look for the keys.

        The tower's sizes go back under `img_processor`, if they are not ViT-L/14-336's, and the rotary parameters to
        `rope_theta` and `rope_scaling`.
        """
        output = super().to_dict()
        if rope := output.pop("rope_parameters", None):
            factors = {key: rope[key] for key in ("short_factor", "long_factor") if key in rope}
            output["rope_theta"] = rope["rope_theta"]
            output["rope_scaling"] = {**factors, "type": "su"} if rope["rope_type"] == "longrope" else None
        vision_config = output.pop("vision_config", None) or {}
        sizes = {key: vision_config[key] for key in CLIP_VIT_LARGE_PATCH14_336 if key in vision_config}
        img_processor = {key: value for key, value in output["img_processor"].items() if key != "vision_config"}
        if sizes and sizes != CLIP_VIT_LARGE_PATCH14_336:
            img_processor["vision_config"] = sizes
        output["img_processor"] = img_processor
        return output


__all__ = ["Phi3VConfig"]
