//! The tests' own virtual machines: what releases to machines are tried on.

use staith_tests::vm::VirtualMachine;

#[test]
fn a_machine_loses_its_power_and_what_was_not_made_durable() {
    let mut machine = VirtualMachine::new();
    machine.power_on();
    machine.wait_until_ready();
    assert_eq!(machine.says("cat /proc/1/comm"), "systemd");
    let first = machine.says("cat /proc/sys/kernel/random/boot_id");
    machine.says("echo kept > /root/kept && sync && echo lost > /root/lost");
    machine.power_off();
    machine.power_on();
    machine.wait_until_ready();
    assert_ne!(machine.says("cat /proc/sys/kernel/random/boot_id"), first);
    assert_eq!(machine.says("cat /root/kept"), "kept");
    assert_eq!(
        machine.says("cat /root/lost 2>/dev/null; true"),
        "",
        "a power failure loses what was not synced"
    );
}
