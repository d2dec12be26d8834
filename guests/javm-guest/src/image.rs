//! What a program says of its image beside code and endpoints: which slots pay, where its catcher sits.
//!
//! A container has no field for that, so each statement is the name of an export that is no endpoint; the
//! publisher (`javm::publish`) reads it.

/// Declares, once per program, which slots of its instances the kernel looks into:
///
/// ```
/// javm_guest::image! {
///     yield_marker_slot: 5,   // a YieldCatcher here: this program handles the markers that it lists
///     gas_slots: [6, 7],      // Gas handles: the first whose meter can pay, pays for this program's run
///     quota_slots: [8],       // Quota handles: the first that can pay, pays for what it stores
/// }
/// # fn main() {}
/// ```
///
/// All fields may be left out. What is not declared, the program has not: it handles no yields, and its caller
/// pays. Slots are number literals from 0 to 255.
#[macro_export]
macro_rules! image {
    ($($field:ident: $value:tt),* $(,)?) => {
        $($crate::__declare! { $field $value })*
    };
}

/// One declaration, in a module of its own: a field that is there twice does not compile.
#[macro_export]
#[doc(hidden)]
macro_rules! __declare {
    (yield_marker_slot $slot:literal) => {
        $crate::__declare! { @export __javm_image_yield_marker_slot "yield_marker_slot" $slot }
    };
    (gas_slots [$($slot:literal),+ $(,)?]) => {
        $crate::__declare! { @export __javm_image_gas_slots "gas_slots" $($slot)+ }
    };
    (quota_slots [$($slot:literal),+ $(,)?]) => {
        $crate::__declare! { @export __javm_image_quota_slots "quota_slots" $($slot)+ }
    };
    (@export $module:ident $field:literal $first:literal $($more:literal)*) => {
        #[doc(hidden)]
        mod $module {
            // A number that is no slot does not compile.
            const _: &[u8] = &[$first $(, $more)*];
            $crate::__export! {
                concat!($crate::declaration_prefix!(), $field, "=", $first $(, ",", $more)*), 0, $crate::image::declaration
            }
        }
    };
    ($field:ident $($value:tt)*) => {
        compile_error!(concat!(
            "an image declares `yield_marker_slot: 5`, `gas_slots: [6, 7]` and `quota_slots: [8]`, not `",
            stringify!($field), ": ", $(stringify!($value),)* "`"
        ));
    };
}

/// Where the exports that declare something lead: nobody gets there.
#[doc(hidden)]
pub extern "C" fn declaration() -> u64 {
    crate::fault()
}
