"""TEMP"""


def report_on(trial, written):
    import sacrebleu

    found = [a["text"] for a in trial.timed(lambda: trial.model.predict_text(trial.examples))]
    refs = [w[0] for w in written]
    trial.report.metrics = {
        "bleu": sacrebleu.corpus_bleu(found, [refs]).score,
        "chrf": sacrebleu.corpus_chrf(found, [refs]).score,
    }
    trial.note_answers(refs, found, {})
