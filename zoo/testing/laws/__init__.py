"""The laws that every mixer keeps, one function a law, in the order in which they are checked and reported.

Each judges in float64 unless it is about precision, so that no leak hides behind a tolerance, and with noise on all
parameters, so that none hides behind a zero.
"""

from collections.abc import Mapping

from zoo.testing.law import Law, by_id
from zoo.testing.laws import dependence, forward, gradients, host, module, numerics, options, stream, streaming

LAWS: Mapping[str, Law] = by_id(
    [
        forward.shape,
        dependence.causality,
        dependence.jacobian,
        dependence.prefix,
        dependence.batch_independence,
        streaming.streaming,
        streaming.state_rows,
        streaming.row_phases,
        streaming.state_value,
        streaming.state_growth,
        streaming.step_gradients,
        host.documents,
        host.shared_streaming,
        dependence.lengths,
        forward.determinism,
        forward.seeded_training,
        forward.purity,
        forward.layout,
        forward.losses,
        gradients.gradients,
        gradients.gradcheck,
        stream.no_residual,
        stream.no_normalisation,
        module.state_dict,
        module.initialisation,
        module.meta_device,
        module.buffers_agree,
        module.checkpointing,
        numerics.precision,
        numerics.autocast,
        numerics.extremes,
        numerics.uninitialised_memory,
        options.options_round_trip,
        options.options_refused,
        options.documentation,
        options.paper,
        module.compiles,
        module.inductor,
    ]
)
"""By id."""
