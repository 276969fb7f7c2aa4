-- On the coordinator. Each statement finds it done when it is run again.
select citus_set_coordinator_host('coordinator', 5432);
select citus_add_node('worker-1', 5432);
select citus_add_node('worker-2', 5432);
select nodename, nodeport, isactive, shouldhaveshards from pg_dist_node order by nodeid;
