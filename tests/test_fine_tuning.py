"""Fine-tuning with transformers' Trainer and PEFT: the loss falls, and what is saved is what was trained."""

import pytest
import torch
from conftest import REFERENCE
from peft import LoraConfig, PeftModel, PromptTuningConfig, get_peft_model
from PIL import Image
from torch.nn.parallel import DistributedDataParallel
from transformers import AutoModelForCausalLM, Trainer, TrainingArguments

CHECKPOINT = REFERENCE / "checkpoint"
PROMPT = "<|user|>\n<|image_1|>\nWhich color?<|end|>\n<|assistant|>\n"


def load(folder=CHECKPOINT):
    return AutoModelForCausalLM.from_pretrained(folder, dtype="float32")


@pytest.fixture(scope="module")
def collate(processor):
    """A batch as recipes make it, padded on the right; examples without an image are among them."""

    def collate(examples):
        prompts = [(PROMPT if color else TEXT) + f"{color or 'none'}<|end|>\n" for color in examples]
        images = [[Image.new("RGB", (50, 50), color)] if color else None for color in examples]
        inputs = processor(text=prompts, images=images, num_crops=1, padding_side="right")
        labels = inputs.input_ids.masked_fill(inputs.input_ids == processor.image_token_id, -100)
        return {**inputs, "labels": labels.masked_fill(inputs.attention_mask == 0, -100)}

    return collate


TEXT = PROMPT.replace("<|image_1|>\n", "")


@pytest.mark.parametrize("kind", ["full", "adapter", "checkpointing"])
def test_the_trainer(kind, collate, tmp_path):
    model = load()
    if kind != "full":
        # All but one: the tower's last layer is never run.
        config = LoraConfig(r=4, target_modules="all-linear", exclude_modules=r".*encoder\.layers\.3\..*")
        model = get_peft_model(model, config)
    arguments = TrainingArguments(
        tmp_path / "run",
        max_steps=4,
        per_device_train_batch_size=2,
        learning_rate=2e-3,
        gradient_checkpointing=kind == "checkpointing",
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        remove_unused_columns=False,
        use_cpu=True,
        seed=0,
    )
    before = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}
    trainer = Trainer(model, arguments, collate, ["red", "", "blue", "red"])
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert losses[-1] < losses[0]
    unchanged = [name for name, p in model.named_parameters() if name in before and torch.equal(p, before[name])]
    assert unchanged == []
    trainer.save_model(tmp_path / "saved")
    again = load(tmp_path / "saved") if kind == "full" else PeftModel.from_pretrained(load(), tmp_path / "saved")
    batch = collate(["red", ""])
    with torch.no_grad():
        assert torch.equal(again.eval()(**batch).logits, model.eval()(**batch).logits)


def test_data_parallel_training_waits_for_no_gradient_that_never_comes(collate, tmp_path):
    store = torch.distributed.FileStore(str(tmp_path / "store"), 1)
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        model = DistributedDataParallel(load())
        for _ in range(2):
            model(**collate(["red"])).loss.backward()
    finally:
        torch.distributed.destroy_process_group()


def test_tuned_prompts_see_the_image(collate):
    model = get_peft_model(load(), PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4)).eval()
    with torch.no_grad():
        red, blue = (model(**collate([color])).loss for color in ("red", "blue"))
        assert (red - blue).abs() > 1e-4
    inputs = {name: value for name, value in collate(["red"]).items() if name != "labels"}
    assert model.generate(**inputs, max_new_tokens=3, do_sample=False).shape[1] == inputs["input_ids"].shape[1] + 3
