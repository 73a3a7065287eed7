//! Taking a letter away. Reading may be answered by a replica of the stream that lags behind; deleting is not, so what is
//! deleted is asked of the stream's leader, too.

use async_nats::jetstream::stream::RawMessageErrorKind;
use chrono::{DateTime, SubsecRound};
use common::broker::Broker;
use common::clock::Timestamp;
use common::contract::streams;
use common::dead_letters::{DeadLetter, DeadLetters, DeadLettersError};

/// The word of the stream's leader.
#[derive(Clone)]
pub(crate) struct Leader {
    broker: Broker,
    letters: DeadLetters,
}

impl Leader {
    pub(crate) fn new(broker: Broker) -> Self {
        Self { letters: DeadLetters::new(broker.clone()), broker }
    }

    /// Deletes this letter, and no other one that has its sequence by now; `false` when it is gone already.
    pub(crate) async fn remove(&self, letter: &DeadLetter) -> Result<bool, DeadLettersError> {
        if self.parked_at(letter.sequence).await? != Some(letter.parked_at.trunc_subsecs(6)) {
            return Ok(false);
        }
        self.letters.remove(letter.sequence).await
    }

    /// When the letter with this sequence was parked, to the microsecond as the database keeps it.
    async fn parked_at(&self, sequence: u64) -> Result<Option<Timestamp>, DeadLettersError> {
        if !self.broker.is_connected() {
            return Err(DeadLettersError::Away("not connected".to_owned()));
        }
        let stream = self.broker.jetstream().get_stream_no_info(streams::DEAD_LETTERS).await;
        let stream = stream.map_err(|error| DeadLettersError::Refused(error.to_string()))?;
        match stream.get_raw_message(sequence).await {
            Ok(message) => {
                let nanoseconds = i64::try_from(message.time.unix_timestamp_nanos()).unwrap_or_default();
                Ok(Some(DateTime::from_timestamp_nanos(nanoseconds).trunc_subsecs(6)))
            }
            Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(DeadLettersError::Away(error.to_string())),
        }
    }
}
