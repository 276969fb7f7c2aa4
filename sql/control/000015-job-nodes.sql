-- Work that a process left when it died is taken over as soon as it is known to be dead, and not when its claim runs out.

-- The node that works on the job, and the claim by which it does: a node of an older version that takes the job over sets
-- another claim, and not these. Null while no node works on it.
alter table lessor.jobs add column claimed_node uuid, add column node_claim uuid;

-- When the operating system started the process: another one may have its id by now. Null where that is not known.
alter table lessor.nodes add column process_started text;
