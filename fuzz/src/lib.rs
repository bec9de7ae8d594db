pub mod batches;
pub mod damage;
pub mod files;
pub mod guest_output;
pub mod payload;
pub mod recovery;
