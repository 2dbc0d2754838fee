# What the Perl peers share: the protocol of peer.h.
package Peer;

use strict;
use warnings;
use Exporter 'import';

our @EXPORT = qw(answer commands digits bytes flag);

$| = 1;

# Answer with these words, or with the error of the system call that returned
# nothing.
sub answer {
    my @words = @_;
    if (@words == 0 || !defined $words[0]) {
        @words = ('error', $! + 0);
    }
    print join(' ', map { $_ eq '0 but true' ? 0 : $_ } @words), "\n";
}

sub digits { return length $_[0] ? unpack('H*', $_[0]) : '-' }
sub bytes { return $_[0] eq '-' ? '' : pack('H*', $_[0]) }

# The value of the flag where its name is among the words, else 0.
sub flag {
    my ($name, $value, @words) = @_;
    return (grep { $_ eq $name } @words) ? $value : 0;
}

# Obey each command with the function of its name.
sub commands {
    my %functions = @_;
    while (my $line = <STDIN>) {
        my ($name, @words) = split ' ', $line;
        $functions{$name}->(@words);
    }
}

1;
