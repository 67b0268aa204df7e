// `hamroh worker --check FILE… --plugins DIR`: loads plugin files beside the shipped ones, in the sandbox of
// live calls but without any data folder, and runs their tests. Without files: those of DIR itself. Prints
// one line a plugin; returns the exit code. Ends after `--deadline SECONDS` (600), exit code 2.
#pragma once
int hm_check_main(int argc, char **argv);
