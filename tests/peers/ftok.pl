# ftok.pl PATH ID: the key of IPC::SysV's ftok, in decimal.
use strict;
use warnings;

use IPC::SysV qw(ftok);

my ($path, $id) = @ARGV;
# A string would count as a character.
print ftok($path, $id + 0), "\n";
