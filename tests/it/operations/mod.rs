//! What operators and the tests of users are given: testing tools, metrics, audit, command line.

mod audit;
mod dashboards;
mod handlers;
mod metrics;
mod testing_tools;
mod traces;
