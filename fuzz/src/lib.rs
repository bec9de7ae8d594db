pub mod batches;
pub mod damage;
pub mod files;
pub mod payload;
pub mod recovery;
