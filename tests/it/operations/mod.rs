//! What operators and the tests of users are given: testing tools, metrics, audit, command line.

mod testing_tools;
