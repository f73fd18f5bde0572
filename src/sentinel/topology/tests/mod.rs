//! The choice, case by case, and what holds for every case.

mod always;
mod given;
mod lineage;
mod switch;
mod votes;
