# Made by tools/shell_files.py; do not edit.
# Uses https://github.com/tqdm/shtab

# Custom Preamble
# Print the keys and ids of the objects of a kind; without a kind only the keys.
function _sysv_ipc_names
    sysv-ipc ls $argv --no-header -o key,id 2>/dev/null | while read -l key id
        test $key = 0x00000000; or echo $key
        test -z "$argv"; or echo id:(string trim $id)
    end
end
function _sysv_ipc_kinds
    printf '%s\n' sem shm msg
end
function _sysv_ipc_columns
    set -l before (string match -r '.*,' -- (commandline -ct))
    printf "$before%s\n" kind key id owner group creator mode permissions size messages bytes fill pids age changed state
end
function _sysv_ipc_users
    __fish_complete_users
end
function _sysv_ipc_keys
    _sysv_ipc_names
end
function _sysv_ipc_msg
    _sysv_ipc_names msg
end
function _sysv_ipc_shm
    _sysv_ipc_names shm
end
function _sysv_ipc_objects
    for word in (commandline -opc)
        switch $word
            case sem s semaphore semaphores set
                _sysv_ipc_names sem
                return
            case shm m memory segment segments
                _sysv_ipc_names shm
                return
            case msg q queue queues message
                _sysv_ipc_names msg
                return
        end
    end
end

# End Custom Preamble

# Parse current commandline:
# - _shtab_sysv_ipc_cmdpath=(sub)command path seen so far
# - _shtab_sysv_ipc_npos=number of positional arguments given after it
# - options are skipped based on _shtab_sysv_ipc_opts_with_value & _shtab_sysv_ipc_commands lists
function _shtab_sysv_ipc_scan
  set -g _shtab_sysv_ipc_cmdpath ''
  set -g _shtab_sysv_ipc_npos 0
  set -l tokens (commandline -opc)
  set -e tokens[1]
  set -l expect_value 0
  for t in $tokens
    if test $expect_value -eq 1
      set expect_value 0
      continue
    end
    switch "$t"
      case '--*=*'
        continue
      case '-*'
        if contains -- $t $_shtab_sysv_ipc_opts_with_value
          set expect_value 1
        end
        continue
      case '*'
        if test $_shtab_sysv_ipc_npos -eq 0
          set -l candidate $t
          if test -n "$_shtab_sysv_ipc_cmdpath"
            set candidate "$_shtab_sysv_ipc_cmdpath $t"
          end
          if contains -- $candidate $_shtab_sysv_ipc_commands
            set -g _shtab_sysv_ipc_cmdpath $candidate
            continue
          end
        end
        set -g _shtab_sysv_ipc_npos (math $_shtab_sysv_ipc_npos + 1)
    end
  end
end

# Condition helper: true if the current (sub)command path equals the given one.
function _shtab_sysv_ipc_using
  _shtab_sysv_ipc_scan
  test "$_shtab_sysv_ipc_cmdpath" = "$argv"
end

set -g _shtab_sysv_ipc_commands ls show limits create 'create sem' 'create shm' 'create msg' rm chmod chown peek send receive read dump write help
set -g _shtab_sysv_ipc_opts_with_value --columns --count --id --index --key --kind --length --max-size --members --mode --offset --owner --size --sort --timeout --type --values --watch -o

complete -c sysv-ipc -e
complete -c sysv-ipc -f

complete -c sysv-ipc -n _shtab_sysv_ipc_using -s h -l help -d 'show this help message and exit'
complete -c sysv-ipc -n _shtab_sysv_ipc_using -s V -l version -d 'print the version'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using; and test $_shtab_sysv_ipc_npos -eq 0' -a ls -d 'List objects. On a terminal long lists go through the pager, columns are shortened to fit, and sizes are rounded; a pipe gets everything in full.'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using ls' -s h -l help -d 'show this help message and exit'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using ls' -l kind -xka "(_sysv_ipc_kinds)" -d 'the same as KIND'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using ls' -l mine -d 'only the caller'"'"'s objects'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using ls' -l owner -xka "(_sysv_ipc_users)" -d 'only this user'"'"'s objects'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using ls' -l key -xka "(_sysv_ipc_keys)" -d 'only this key, such as 0x1234 or name:acme/jobs'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using ls' -l id -x -d 'only this id'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using ls' -l sort -xka "kind key id owner mode size age" -d 'sort by kind, key, id, owner, mode, size, age'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using ls' -l reverse -d 'reverse the order'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using ls' -s o -l columns -xka "(_sysv_ipc_columns)" -d 'the columns, such as key,id,state (see below)'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using ls' -l bytes -d 'show sizes in bytes, not rounded'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using ls' -l no-header -d 'print no headers and no totals'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using ls' -l watch -x -d 'repeat the list until q or Ctrl-C (2)'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using ls' -l json -d 'print results and errors as JSON'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using ls; and test $_shtab_sysv_ipc_npos -ge 0' -ka "(_sysv_ipc_kinds)" -d 'sem, shm or msg (all)'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using; and test $_shtab_sysv_ipc_npos -eq 0' -a show -d 'Show every fact about one object.'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using show' -s h -l help -d 'show this help message and exit'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using show' -l bytes -d 'show sizes in bytes only'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using show' -l json -d 'print results and errors as JSON'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using show; and test $_shtab_sysv_ipc_npos -eq 0' -ka "(_sysv_ipc_kinds)" -d 'sem, shm or msg'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using show; and test $_shtab_sysv_ipc_npos -eq 1' -ka "(_sysv_ipc_objects)" -d 'a key (0x1234 or 4660), a name (name:acme/jobs) or an id (id:7)'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using; and test $_shtab_sysv_ipc_npos -eq 0' -a limits -d 'Show the system'"'"'s limits and the part in use.'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using limits' -s h -l help -d 'show this help message and exit'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using limits' -l bytes -d 'show every number in full'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using limits' -l json -d 'print results and errors as JSON'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using; and test $_shtab_sysv_ipc_npos -eq 0' -a create -d 'Create a new object. Without --key it gets an unused key.'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using create' -s h -l help -d 'show this help message and exit'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using create; and test $_shtab_sysv_ipc_npos -eq 0' -a sem -d 'A semaphore set.'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using create sem' -s h -l help -d 'show this help message and exit'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using create sem' -l members -x -d 'number of semaphores (1)'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using create sem' -l values -x -d 'the semaphores'"'"' values, such as 1,0,5 (0)'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using create sem' -l key -x -d 'such as 0x1234 or name:acme/jobs (an unused one)'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using create sem' -l mode -x -d 'permissions, such as 640 or g+r (600)'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using create sem' -s q -l quiet -d 'print only the key'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using create sem' -l json -d 'print results and errors as JSON'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using create; and test $_shtab_sysv_ipc_npos -eq 0' -a shm -d 'A segment.'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using create shm' -s h -l help -d 'show this help message and exit'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using create shm' -l size -x -d 'size in bytes, or such as 64K, 16M, 1G (one page)'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using create shm' -l key -x -d 'such as 0x1234 or name:acme/jobs (an unused one)'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using create shm' -l mode -x -d 'permissions, such as 640 or g+r (600)'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using create shm' -s q -l quiet -d 'print only the key'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using create shm' -l json -d 'print results and errors as JSON'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using create; and test $_shtab_sysv_ipc_npos -eq 0' -a msg -d 'A message queue.'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using create msg' -s h -l help -d 'show this help message and exit'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using create msg' -l max-size -x -d 'capacity in bytes (kernel.msgmnb)'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using create msg' -l key -x -d 'such as 0x1234 or name:acme/jobs (an unused one)'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using create msg' -l mode -x -d 'permissions, such as 640 or g+r (600)'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using create msg' -s q -l quiet -d 'print only the key'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using create msg' -l json -d 'print results and errors as JSON'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using; and test $_shtab_sysv_ipc_npos -eq 0' -a rm -d 'Remove the given objects, or with --owner or --mine the unused objects of a user. On a terminal it asks before each one.'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using rm' -s h -l help -d 'show this help message and exit'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using rm' -l owner -xka "(_sysv_ipc_users)" -d 'instead of OBJECT: this user'"'"'s unused objects'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using rm' -l mine -d 'instead of OBJECT: the caller'"'"'s unused objects'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using rm' -s y -l yes -d 'do not ask'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using rm' -l json -d 'print results and errors as JSON'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using rm; and test $_shtab_sysv_ipc_npos -eq 0' -ka "(_sysv_ipc_kinds)" -d 'sem, shm or msg'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using rm; and test $_shtab_sysv_ipc_npos -ge 1' -ka "(_sysv_ipc_objects)" -d 'a key (0x1234 or 4660), a name (name:acme/jobs) or an id (id:7)'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using; and test $_shtab_sysv_ipc_npos -eq 0' -a chmod -d 'Change the permission bits of objects. MODE is as for chmod(1): octal, or letters such as u=rw,g+r.'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using chmod' -s h -l help -d 'show this help message and exit'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using chmod' -l json -d 'print results and errors as JSON'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using chmod; and test $_shtab_sysv_ipc_npos -eq 1' -ka "(_sysv_ipc_kinds)" -d 'sem, shm or msg'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using chmod; and test $_shtab_sysv_ipc_npos -ge 2' -ka "(_sysv_ipc_objects)" -d 'a key (0x1234 or 4660), a name (name:acme/jobs) or an id (id:7)'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using; and test $_shtab_sysv_ipc_npos -eq 0' -a chown -d 'Change the owner of objects, the group, or both. The creator stays.'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using chown' -s h -l help -d 'show this help message and exit'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using chown' -l json -d 'print results and errors as JSON'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using chown; and test $_shtab_sysv_ipc_npos -eq 0' -ka "(_sysv_ipc_users)" -d 'names or numbers; :GROUP for the group only'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using chown; and test $_shtab_sysv_ipc_npos -eq 1' -ka "(_sysv_ipc_kinds)" -d 'sem, shm or msg'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using chown; and test $_shtab_sysv_ipc_npos -ge 2' -ka "(_sysv_ipc_objects)" -d 'a key (0x1234 or 4660), a name (name:acme/jobs) or an id (id:7)'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using; and test $_shtab_sysv_ipc_npos -eq 0' -a peek -d 'Print messages of a queue without removing them.'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using peek' -s h -l help -d 'show this help message and exit'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using peek' -l index -x -d 'index of the first message (0)'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using peek' -l count -x -d 'number of messages (1)'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using peek' -l all -d 'all messages in the queue'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using peek' -l lines -d 'print a newline after each message'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using peek' -l json -d 'print JSON: type, size, text, base64'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using peek' -l raw -d 'write control characters to a terminal as they are'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using peek; and test $_shtab_sysv_ipc_npos -eq 0' -ka "(_sysv_ipc_msg)" -d 'a key (0x1234 or 4660), a name (name:acme/jobs) or an id (id:7)'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using; and test $_shtab_sysv_ipc_npos -eq 0' -a send -d 'Send each TEXT as a message. Without TEXT, send standard input as one.'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using send' -s h -l help -d 'show this help message and exit'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using send' -l type -x -d 'the messages'"'"' type (1)'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using send' -l timeout -x -d 'seconds to wait for room (no limit)'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using send' -l count -x -d 'number of repetitions (1)'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using send' -l lines -d 'send each line of standard input as a message'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using send; and test $_shtab_sysv_ipc_npos -eq 0' -ka "(_sysv_ipc_msg)" -d 'a key (0x1234 or 4660), a name (name:acme/jobs) or an id (id:7)'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using; and test $_shtab_sysv_ipc_npos -eq 0' -a receive -d 'Receive messages from a queue and write them to standard output.'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using receive' -s h -l help -d 'show this help message and exit'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using receive' -l type -x -d 'as in msgrcv(2): 0 any, -5 the lowest up to 5 (0)'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using receive' -l except -d 'any type except --type'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using receive' -l timeout -x -d 'seconds to wait for each (no limit)'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using receive' -l count -x -d 'number of messages (1)'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using receive' -l all -d 'all messages in the queue'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using receive' -l lines -d 'print a newline after each message'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using receive' -l json -d 'print JSON: type, size, text, base64'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using receive' -l raw -d 'write control characters to a terminal as they are'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using receive; and test $_shtab_sysv_ipc_npos -eq 0' -ka "(_sysv_ipc_msg)" -d 'a key (0x1234 or 4660), a name (name:acme/jobs) or an id (id:7)'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using; and test $_shtab_sysv_ipc_npos -eq 0' -a read -d 'Copy bytes of a segment to standard output.'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using read' -s h -l help -d 'show this help message and exit'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using read' -l offset -x -d 'offset of the first byte (0)'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using read' -l raw -d 'write control characters to a terminal as they are'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using read' -l length -x -d 'number of bytes (up to the end)'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using read; and test $_shtab_sysv_ipc_npos -eq 0' -ka "(_sysv_ipc_shm)" -d 'a key (0x1234 or 4660), a name (name:acme/jobs) or an id (id:7)'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using; and test $_shtab_sysv_ipc_npos -eq 0' -a dump -d 'Show bytes of a segment in hexadecimal, like xxd(1).'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using dump' -s h -l help -d 'show this help message and exit'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using dump' -l offset -x -d 'offset of the first byte (0)'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using dump' -l length -x -d 'number of bytes (up to the end)'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using dump; and test $_shtab_sysv_ipc_npos -eq 0' -ka "(_sysv_ipc_shm)" -d 'a key (0x1234 or 4660), a name (name:acme/jobs) or an id (id:7)'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using; and test $_shtab_sysv_ipc_npos -eq 0' -a write -d 'Copy TEXT or standard input into a segment: all of it, or nothing.'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using write' -s h -l help -d 'show this help message and exit'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using write' -l offset -x -d 'offset of the first byte (0)'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using write; and test $_shtab_sysv_ipc_npos -eq 0' -ka "(_sysv_ipc_shm)" -d 'a key (0x1234 or 4660), a name (name:acme/jobs) or an id (id:7)'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using; and test $_shtab_sysv_ipc_npos -eq 0' -a help -d 'Show the help of a command, or that of the program.'
complete -c sysv-ipc -n '_shtab_sysv_ipc_using help' -s h -l help -d 'show this help message and exit'
