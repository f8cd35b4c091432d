"""Sorts the operations of TensorFlow and tensorflow-text: allowed, denied. `make operations`.

    python tests/allowed_operations.py

Writes `tfhub_transfer/graphs/allowed_operations.txt`, one name a line, and
`tests/denied_operations.txt`, the others by kind. Read the difference before it is committed: the
rules below know nothing of what a new operation does, and that it has no state says little
(`ReadFile` has none). With a new TensorFlow `test_safety.py` names the operations that are in
neither file.
"""

import collections
import re
from pathlib import Path
from typing import Any

ALLOWED = (
    Path(__file__).resolve().parents[1] / "tfhub_transfer" / "graphs" / "allowed_operations.txt"
)
DENIED = Path(__file__).with_name("denied_operations.txt")
_RESOURCE = 20

# Why an operation is denied; the first rule that matches names the kind. What none matches is
# judged by its flags below.
_KINDS = {
    "internal to TensorFlow": r"^_|^Mkl",
    "TensorFlow's own tests": (
        r"^(A|B|Binary|Unary|None|Old|Fact|Simple)$|^(Attr|Foo\d|InPoly|IntAttr|IntIn|IntOut|"
        r"Int64Out|Float(In|Out)|FiveFloat|FuncAttr|FuncList|ListIn|ListOut|Mixed|NIn|NPoly|Kernel|"
        r"OpWith|OutT|Polymorphic|Reserved|Restrict|Simple|ComplexStruct|DefaultAttrs|Test|"
        r"Two(Float|Int|Refs)|TypeList|StringListAttr|ConstructionFails|Namespace>|CopyOp|"
        r"Ref(In|Out)|Resource(Create|Initialized|Using)Op|GraphDefVersion|RequiresOlder|"
        r"StubResource|DtypeWithDefault|Sleep(Op|Identity)|Dummy|FakeQueue|IsResourceHandleRef|"
        r"MakeWeak)"
    ),
    "calls Python or other programs": r"PyFunc|MlirPassthrough|XlaCallModule",
    "the process and its devices": (
        r"^Abort$|DeviceIndex|SyncDevice|Timestamp|GetDeadline|IsTensorFloat32|DeepCopy|"
        r"ParallelConcat"
    ),
    "checkpoints": (
        r"^(Save|SaveV2|SaveSlices|Restore|RestoreV2|RestoreSlice|MergeV2Checkpoints|"
        r"ShardedFilespec|DistributedSave|LoadAndRemapMatrix|DTensorRestore.*)$"
    ),
    "reads or writes files": (
        r"^(ReadFile|WriteFile|MatchingFiles|DecodeProtoV2|EncodeProto|GenerateVocabRemapping|"
        r"ImmutableConst|InitializeTableFromTextFile(V2)?|InitializeTableFromDataset|"
        r"FixedUnigramCandidateSampler|Skipgram|NegTrain|RecordInput|CalibrationStatisticsSaver|"
        r"CustomAggregator|StoreMinibatch.*|DumpTensor|FileSystemSetConfiguration|Print|PrintV2|"
        r"HostConst)$|Reader"
    ),
    "debugging and summaries": (
        r"^Debug|Summar|CheckPinned|ImportEvent|StatsAggregator|^Copy(Host)?$"
    ),
    "data pipelines": (
        r"Dataset|Iterator|MemoryCache|SeedGenerator|ThreadPool|^Optional|GetOptions|"
        r"^(Unc|C)ompressElement|GetElementAtIndex|^WindowOp$|ComputeBatchSize"
    ),
    "the network and other devices": (
        r"Rpc|Collective|Nccl|^(Send|Recv|RemoteCall|AllToAll|CrossReplicaSum|Relayout.*|"
        r"CopyToMesh.*|DTensor.*|DevicePlacementOp|Assign.*Xla.*|ReadVariableXla.*)$|Infeed|"
        r"Outfeed|Prelinearize|GlobalIterId"
    ),
    "TPU, XLA, experiments": (
        r"TPU|Tpu|Xla|SparseCore|Minibatch|Dedup|ConvertTo.*Coo|^Risc|WorkerHeartbeat|UpdateTask"
    ),
    "queues, sessions, state that outlives a call": (
        r"Queue|Barrier|Stack(Pop|Push|Close|V2)|^Stack$|Stage$|Stage[A-Z]|^Unstage|"
        r"^(Ordered)?Map(Clear|Peek|Size|Stage|Unstage|Incomplete).*|Accumulator(?!N)|Mutex|"
        r"SessionHandle|SessionTensor|TensorsMap|TakeManySparse|^Batch$|^Unbatch|BatchFunction|"
        r"TemporaryVariable|SymbolicGradient|^TensorArray\w*V2$"
    ),
    "changes its input in place": r"^Inplace",
    "boosted trees, SDCA": r"BoostedTrees|Sdca|TensorForest",
    "codecs of images and sounds": (
        r"^Decode(?!Base64|Raw|CSV|PaddedRaw|Compressed)|^Encode(Jpeg|Png|Wav)|ExtractJpeg|"
        r"AudioMicro|^(Sample|Draw)(Distorted|Bounding)"
    ),
}
_REFERENCES, _STATE = "TensorFlow 1 references", "state that no encoder needs"

# Allowed although they have state: variables, tables, random numbers, calls, arrays.
_STATEFUL = frozenset(
    """Assert AssignAddVariableOp AssignSubVariableOp AssignVariableOp Case CheckNumerics
    CheckNumericsV2 CudnnRNN CudnnRNNBackprop CudnnRNNBackpropV2 CudnnRNNBackpropV3 CudnnRNNV2
    CudnnRNNV3 DestroyResourceOp DisableCopyOnRead Empty GuaranteeConst HashTableV2 If
    InitializeTableV2 AnonymousHashTable AnonymousMutableHashTable LookupTableExportV2
    LookupTableFindV2 LookupTableImportV2 LookupTableInsertV2 LookupTableRemoveV2
    LookupTableSizeV2 Multinomial MutableHashTableV2 MutableDenseHashTableV2
    MutableHashTableOfTensorsV2 RandomGamma RandomPoissonV2 RandomShuffle RandomStandardNormal
    RandomUniform RandomUniformInt ReadVariableOp ResourceGather ResourceGatherNd
    ResourceScatterAdd ResourceScatterUpdate ResourceScatterNdUpdate ResourceScatterNdAdd
    RngReadAndSkip RngSkip StatefulPartitionedCall StatefulStandardNormalV2
    StatefulTruncatedNormal StatefulUniform StatefulUniformFullInt StatefulUniformInt
    StatelessRandomGetAlg SentencepieceDetokenizeOp SentencepieceIdToStringOp SentencepieceOp
    SentencepieceStringToIdOp SentencepieceTokenizeOp SentencepieceTokenizeWithOffsetsOp
    SentencepieceVocabSizeOp TensorArrayCloseV3 TensorArrayConcatV3 TensorArrayGatherV3
    TensorArrayReadV3 TensorArrayScatterV3 TensorArraySizeV3 TensorArraySplitV3 TensorArrayV3
    TensorArrayWriteV3 TruncatedNormal VarHandleOp VarIsInitializedOp VariableShape While
    WordpieceTokenizeWithOffsets""".split()
)


def registered() -> dict[str, Any]:
    """The `OpDef` of every operation of TensorFlow and tensorflow-text, by name."""
    import tensorflow_text  # noqa: F401  registers its own
    from tensorflow.core.framework import op_def_pb2
    from tensorflow.python.client import pywrap_tf_session as session

    listed = op_def_pb2.OpList()
    listed.ParseFromString(bytes(session.TF_GetBuffer(session.TF_GetAllOpList())))
    return {op.name: op for op in listed.op}


def kind(op: Any) -> str | None:
    """Why an operation is denied; `None` if it is allowed."""
    for name, rule in _KINDS.items():
        if re.search(rule, op.name):
            return name
    arguments = (*op.input_arg, *op.output_arg)
    if any(argument.is_ref for argument in arguments):
        return _REFERENCES
    has_state = op.is_stateful or any(argument.type == _RESOURCE for argument in arguments)
    return _STATE if has_state and op.name not in _STATEFUL else None


def denied() -> dict[str, list[str]]:
    """What `denied_operations.txt` says: the names of each kind."""
    parts = DENIED.read_text(encoding="utf-8").split("\n\n")
    kinds = dict(part.strip().split("\n", 1) for part in parts)
    return {name.rstrip(":"): names.split() for name, names in kinds.items()}


def main() -> None:
    """Writes both files."""
    found: dict[str | None, list[str]] = collections.defaultdict(list)
    for name, op in sorted(registered().items()):
        found[kind(op)].append(name)
    ALLOWED.write_text("\n".join(found.pop(None)) + "\n", encoding="utf-8")
    parts = [f"{name}:\n" + "\n".join(found[name]) for name in sorted(map(str, found))]
    DENIED.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    print({name: len(names) for name, names in found.items()})


if __name__ == "__main__":
    main()
