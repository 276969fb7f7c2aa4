-- Work that a process left when it died is taken over as soon as it is known to be dead, and not when its claim runs out.

-- The node that works on the job; null while none does, or it is a command or a node of an older version.
alter table lessor.jobs add column claimed_node uuid;

-- When the operating system started the process: another one may have its id by now. Null where that is not known.
alter table lessor.nodes add column process_started text;
